package console_test

import (
	"context"
	"testing"

	"flowtally/query"
	"flowtally/store/console"
	"flowtally/store/storetest"
)

func TestSchemaForReaders(t *testing.T) {
	h := storetest.EmptyHouse(t)
	tables, err := console.New(h.Db).Schema(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(tables) < 8 || tables[0].Table != "flows" || len(tables[0].Columns) != len(query.FlowColumns) {
		t.Fatalf("%+v", tables)
	}
	for _, table := range tables {
		if table.Comment == "" {
			t.Errorf("%s has no comment", table.Table)
		}
	}
	for i, c := range tables[0].Columns {
		found := false
		for _, name := range query.FlowColumns {
			found = found || name == c.Name
		}
		if !found || c.Comment == "" {
			t.Errorf("column %d %s is not listed, or has no comment", i, c.Name)
		}
	}
}
