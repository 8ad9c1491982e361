//go:build apiclient

// Command apiclient asks a server for a ranking, a series and flows, page by page, with a client
// that was generated from web/openapi.json, and prints what it understood. A test of package web
// generates the client, builds this with it, and compares the numbers; neither is committed nor
// part of the product. Without the tag there is nothing here to build.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"

	"flowtally/tools/apiclient/client"
)

// understood is what is printed.
type understood struct {
	Unauthorized             string
	TopBytes, TopTotal       []int64
	TopAddresses             []string
	SeriesFlows, SeriesBytes []int64
	Buckets                  int
	FlowBytes                []int64
	FlowSources              []string
	Pages                    int
	TooMuch                  string
	SQL                      []any
}

func main() {
	if err := run(context.Background(), os.Args[1], os.Getenv("FLOWTALLY_TOKEN")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, server, token string) error {
	stranger, err := client.NewClientWithResponses(server)
	if err != nil {
		return err
	}
	c, err := client.NewClientWithResponses(server, client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	}))
	if err != nil {
		return err
	}
	var u understood

	from, to, key, step := "-1h", "now", "src-addr", "5m"
	refused, err := stranger.TopWithResponse(ctx, &client.TopParams{From: &from})
	if err != nil {
		return err
	}
	if p := refused.ApplicationproblemJSON401; p != nil && p.Detail != nil {
		u.Unauthorized = *p.Detail
	}

	by := client.TopParamsByBytes
	top, err := c.TopWithResponse(ctx, &client.TopParams{From: &from, Key: &key, By: &by})
	if err != nil {
		return err
	}
	if top.JSON200 == nil {
		return fmt.Errorf("top: %s %s", top.Status(), top.Body)
	}
	for _, row := range top.JSON200.Rows {
		addr, err := row.Values["src_addr"].AsTopRowValues0()
		if err != nil {
			return err
		}
		u.TopBytes, u.TopAddresses = append(u.TopBytes, row.Bytes), append(u.TopAddresses, addr)
	}
	u.TopTotal = []int64{top.JSON200.Total.Flows, top.JSON200.Total.Packets, top.JSON200.Total.Bytes}

	series, err := c.SeriesWithResponse(ctx, &client.SeriesParams{From: &from, To: &to, Step: &step})
	if err != nil {
		return err
	}
	if series.JSON200 == nil {
		return fmt.Errorf("series: %s %s", series.Status(), series.Body)
	}
	u.Buckets, u.SeriesFlows, u.SeriesBytes = len(series.JSON200.Starts), series.JSON200.Total.Flows, series.JSON200.Total.Bytes

	limit, sort, after := int64(2), client.FlowsParamsSortBytes, ""
	for {
		page, err := c.FlowsWithResponse(ctx, &client.FlowsParams{From: &from, Limit: &limit, Sort: &sort, After: &after})
		if err != nil {
			return err
		}
		if page.JSON200 == nil {
			return fmt.Errorf("flows: %s %s", page.Status(), page.Body)
		}
		u.Pages++
		for _, row := range page.JSON200.Rows {
			u.FlowBytes, u.FlowSources = append(u.FlowBytes, *row.Bytes), append(u.FlowSources, *row.SrcAddr)
		}
		if page.JSON200.Next == nil {
			break
		}
		after = *page.JSON200.Next
	}

	limit = 10_001
	much, err := c.FlowsWithResponse(ctx, &client.FlowsParams{Limit: &limit})
	if err != nil {
		return err
	}
	if p := much.ApplicationproblemJSON422; p != nil && p.Detail != nil {
		u.TooMuch = *p.Detail
	}

	sql, err := c.SqlWithResponse(ctx, client.SqlJSONRequestBody{Sql: "select max(bytes), count(*) from flows"})
	if err != nil {
		return err
	}
	if sql.JSON200 == nil || len(sql.JSON200.Rows) != 1 {
		return fmt.Errorf("sql: %s %s", sql.Status(), sql.Body)
	}
	u.SQL = sql.JSON200.Rows[0]
	return json.NewEncoder(os.Stdout).Encode(u)
}
