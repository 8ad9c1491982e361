package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"flowtally/flow"
)

const pathExporterLoss = "/api/v1/exporters/{id}/loss"

type forgetInput struct {
	ID int32 `path:"id"`
}

func (s *server) forgetExporter(ctx context.Context, in *forgetInput) (*struct{}, error) {
	if err := s.mayEdit(ctx); err != nil {
		return nil, err
	}
	return ask(ctx, s, "exporters", func(ctx context.Context) (*struct{}, error) {
		return nil, s.config.DB.ForgetExporter(ctx, flow.ExporterID(in.ID))
	})
}

type exporterLossInput struct {
	ID   int32 `path:"id"`
	Body struct {
		LeftOut bool `json:"left_out" doc:"Whether its losses are left out of the totals of all exporters."`
	}
}

func (s *server) putExporterLoss(ctx context.Context, in *exporterLossInput) (*struct{}, error) {
	if err := s.mayEdit(ctx); err != nil {
		return nil, err
	}
	return ask(ctx, s, "exporters", func(ctx context.Context) (*struct{}, error) {
		return nil, s.config.DB.LeaveOut(ctx, flow.ExporterID(in.ID), in.Body.LeftOut)
	})
}

func (s *server) routeForget(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "exporter-forget", Method: http.MethodDelete, Path: pathExporter, DefaultStatus: http.StatusNoContent,
		Summary:     "Forget an exporter",
		Description: "Deletes what is known of an exporter, what people said about it, and its part of the ledger: for one that a stranger made up. Its flows stay, under its number. When it sends again, it is new. For editors.",
		Errors:      changes,
	}, s.forgetExporter)
	huma.Register(api, huma.Operation{
		OperationID: "exporter-loss", Method: http.MethodPut, Path: pathExporterLoss, DefaultStatus: http.StatusNoContent,
		Summary:     "Leave an exporter out of the totals of loss",
		Description: "Says whether the losses of an exporter, which may be its mere claims, are left out of the totals of all exporters. Whoever asks for its losses sees them. For editors.",
		Errors:      changes,
	}, s.putExporterLoss)
}
