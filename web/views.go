package web

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/store/console"
)

const (
	pathViews = "/api/v1/views"
	pathView  = "/api/v1/views/{id}"
)

// ViewWords is what people say of a view. Like Sums it is exported for the
// library's sake.
type ViewWords struct {
	Name   string `json:"name" doc:"What to call it: one line, different from the others'." maxLength:"100"`
	URL    string `json:"url" doc:"Its address inside the page: begins with / or ?." maxLength:"4096"`
	Filter string `json:"filter,omitempty" doc:"Its filter; empty for all flows." maxLength:"10240"`
	Color  string `json:"color,omitempty" example:"#1f77b4" doc:"Its colour in graphs; empty for one that is free."`
	Sign   string `json:"sign,omitempty" enum:"+,-" default:"+" doc:"Whether it is drawn above or below the axis."`
	Pinned bool   `json:"pinned,omitempty" doc:"Whether the overview shows it."`
}

type view struct {
	ID        int64     `json:"id"`
	Name      string    `json:"name"`
	URL       string    `json:"url"`
	Filter    string    `json:"filter"`
	Color     string    `json:"color"`
	Sign      string    `json:"sign" enum:"+,-"`
	Pinned    bool      `json:"pinned"`
	ChangedAt time.Time `json:"changed_at"`
}

func viewOf(v *console.View) view {
	return view{v.ID, v.Name, v.URL, v.Filter, v.Color, v.Sign, v.Pinned, v.ChangedAt}
}

type viewsOutput struct {
	Body struct {
		Views []view `json:"views" nullable:"false"`
	}
}

type viewOutput struct{ Body view }

type newViewInput struct {
	Zoned
	Body ViewWords
}

type viewInput struct {
	ID int64 `path:"id" minimum:"1"`
	Zoned
	Body ViewWords
}

type viewID struct {
	ID int64 `path:"id" minimum:"1"`
}

func (s *server) views(ctx context.Context, _ *struct{}) (*viewsOutput, error) {
	list, err := ask(ctx, s, "views", s.config.DB.Views)
	if err != nil {
		return nil, err
	}
	out := &viewsOutput{}
	out.Body.Views = make([]view, len(list))
	for i := range list {
		out.Body.Views[i] = viewOf(&list[i])
	}
	return out, nil
}

func (s *server) newView(ctx context.Context, in *newViewInput) (*viewOutput, error) {
	return s.saveView(ctx, 0, in.Zoned, in.Body)
}

func (s *server) putView(ctx context.Context, in *viewInput) (*viewOutput, error) {
	return s.saveView(ctx, in.ID, in.Zoned, in.Body)
}

// saveView keeps a view, with the times of its filter in UTC: it is to mean the same later
// and elsewhere.
func (s *server) saveView(ctx context.Context, id int64, zone Zoned, w ViewWords) (*viewOutput, error) {
	if err := s.mayEdit(ctx); err != nil {
		return nil, err
	}
	now, err := s.clock(zone)
	if err != nil {
		return nil, err
	}
	meant, err := parseFilter("filter", w.Filter, now)
	if err != nil {
		return nil, inBody(err)
	}
	v, err := ask(ctx, s, "views", func(ctx context.Context) (*console.View, error) {
		return s.config.DB.SaveView(ctx, console.View{ID: id, Name: w.Name, URL: w.URL, Filter: meant.String(), Color: w.Color, Sign: w.Sign, Pinned: w.Pinned})
	})
	if err != nil {
		return nil, inBody(err)
	}
	return &viewOutput{viewOf(v)}, nil
}

func (s *server) deleteView(ctx context.Context, in *viewID) (*struct{}, error) {
	if err := s.mayEdit(ctx); err != nil {
		return nil, err
	}
	_, err := ask(ctx, s, "views", func(ctx context.Context) (struct{}, error) { return struct{}{}, s.config.DB.DeleteView(ctx, in.ID) })
	return nil, err
}

// changes are the statuses of operations that change something.
var changes = append([]int{http.StatusNotFound, http.StatusConflict}, failures...)

func (s *server) routeViews(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "views", Method: http.MethodGet, Path: pathViews,
		Summary: "Saved views", Description: "All saved views, by name.", Errors: failures,
	}, s.views)
	huma.Register(api, huma.Operation{
		OperationID: "view-new", Method: http.MethodPost, Path: pathViews, DefaultStatus: http.StatusCreated,
		Summary: "Save a view", Description: fmt.Sprintf("Keeps a view. At most %d are kept. For editors.", console.MaxViews), Errors: changes,
	}, s.newView)
	huma.Register(api, huma.Operation{
		OperationID: "view-change", Method: http.MethodPut, Path: pathView,
		Summary: "Change a view", Description: "Keeps a view in place of what it was. For editors.", Errors: changes,
	}, s.putView)
	huma.Register(api, huma.Operation{
		OperationID: "view-delete", Method: http.MethodDelete, Path: pathView, DefaultStatus: http.StatusNoContent,
		Summary: "Delete a view", Description: "Forgets a view. For editors.", Errors: changes,
	}, s.deleteView)
}
