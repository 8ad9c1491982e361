package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

const pathMe = "/api/v1/me"

// The roles of people.
const (
	// RoleViewer may ask everything, and change nothing.
	RoleViewer = "viewer"
	// RoleEditor may change what people say of exporters and interfaces, and
	// saved views.
	RoleEditor = "editor"
)

// identity is who asks.
type identity struct {
	user string // "" when nobody logs in here
	role string
}

type identityKey struct{}

// who returns who asks; without a login that is everybody, and an editor.
func who(ctx context.Context) identity {
	if i, ok := ctx.Value(identityKey{}).(identity); ok {
		return i
	}
	return identity{role: RoleEditor}
}

// mayEdit refuses those who may only look.
func (s *server) mayEdit(ctx context.Context) error {
	if who(ctx).role == RoleEditor {
		return nil
	}
	return &huma.ErrorModel{Title: statusTitle(http.StatusForbidden), Status: http.StatusForbidden,
		Detail: "You may look at everything here and change nothing: that takes the role of an editor."}
}

type me struct {
	User  *string `json:"user" doc:"Who is asking; null when nobody is logged in."`
	Role  string  `json:"role" enum:"viewer,editor" doc:"What he may do."`
	Login string  `json:"login" enum:"none,password,proxy" doc:"How people log in here."`
}

type meOutput struct{ Body me }

func (s *server) me(ctx context.Context, _ *struct{}) (*meOutput, error) {
	return &meOutput{me{Role: who(ctx).role, Login: "none"}}, nil
}

func (s *server) routeLogin(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "me", Method: http.MethodGet, Path: pathMe,
		Summary: "Who am I?", Description: "Who is asking, what he may do, and how people log in here.", Errors: failures,
	}, s.me)
}
