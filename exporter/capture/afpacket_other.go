package capture

import "errors"

// OpenInterface captures from a network interface.
func OpenInterface(name string, c InterfaceConfig) (Source, error) { return nil, errors.ErrUnsupported }
