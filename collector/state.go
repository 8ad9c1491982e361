package collector

func (p *process) loadTemplates() {}
func (p *process) saveTemplates() {}
