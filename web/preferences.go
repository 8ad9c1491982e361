package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/store/console"
)

const pathPreferences = "/api/v1/preferences"

// PreferenceWords is what a person prefers to see. Like Sums it is exported for
// the library's sake.
type PreferenceWords struct {
	Theme string `json:"theme,omitempty" enum:",system,light,dark"`
	Zone  string `json:"zone,omitempty" enum:",local,utc" doc:"The zone that times are shown in."`
	Range string `json:"range,omitempty" example:"-6h" maxLength:"6" doc:"The range that a page begins with, up to now."`
	Unit  string `json:"unit,omitempty" enum:",bits,bytes" doc:"What traffic a second is counted in."`
	Rows  int    `json:"rows,omitempty" minimum:"0" maximum:"1000" doc:"How many rows a table has."`
}

type preferencesOutput struct {
	Body struct {
		PreferenceWords
		Kept bool `json:"kept" doc:"Whether the server keeps them: where nobody logs in, it does not know whose they are."`
	}
}

type preferencesInput struct{ Body PreferenceWords }

func (s *server) preferences(ctx context.Context, _ *struct{}) (*preferencesOutput, error) {
	out := &preferencesOutput{}
	user := who(ctx).user
	if user == "" {
		return out, nil
	}
	p, err := ask(ctx, s, "preferences", func(ctx context.Context) (console.Preferences, error) { return s.config.DB.Preferences(ctx, user) })
	if err != nil {
		return nil, err
	}
	out.Body.PreferenceWords, out.Body.Kept = PreferenceWords(p), true
	return out, nil
}

// putPreferences is open to viewers: what they prefer changes nothing for others.
func (s *server) putPreferences(ctx context.Context, in *preferencesInput) (*struct{}, error) {
	if err := byPerson(ctx); err != nil {
		return nil, err
	}
	user := who(ctx).user
	if user == "" {
		return nil, &huma.ErrorModel{Title: statusTitle(http.StatusConflict), Status: http.StatusConflict,
			Detail: "Nobody logs in here, so that the server does not know whose preferences these are: the page keeps them in the browser."}
	}
	_, err := ask(ctx, s, "preferences", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.config.DB.SetPreferences(ctx, user, console.Preferences(in.Body))
	})
	return nil, inBody(err)
}

func (s *server) routePreferences(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "preferences", Method: http.MethodGet, Path: pathPreferences,
		Summary: "Preferences", Description: "What who is asking prefers to see, where the address of a page does not say.", Errors: failures,
	}, s.preferences)
	huma.Register(api, huma.Operation{
		OperationID: "preferences-change", Method: http.MethodPut, Path: pathPreferences, DefaultStatus: http.StatusNoContent,
		Summary: "Keep preferences", Description: "Keeps one's own preferences in place of what was kept; what is left out is left to the page. For everybody who is logged in, not for tokens.", Errors: changes,
	}, s.putPreferences)
}
