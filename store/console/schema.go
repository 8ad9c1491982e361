package console

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"flowtally/store"
)

// SchemaTable is a table or view of the public schema that flow_reader may read.
type SchemaTable struct {
	Table, Comment string
	Columns        []SchemaColumn
}

// SchemaColumn is a column of a SchemaTable.
type SchemaColumn struct{ Name, Type, Comment string }

// Schema lists the tables and views that flow_reader may read, flows first.
func (c *Console) Schema(ctx context.Context) ([]SchemaTable, error) {
	list := []SchemaTable{}
	err := c.db.Ask(ctx, store.DefaultTimeout, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
select c.relname, coalesce(obj_description(c.oid, 'pg_class'), ''), a.attname, format_type(a.atttypid, a.atttypmod), coalesce(col_description(c.oid, a.attnum), '')
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v', 'p') and c.relname <> 'goose_db_version'
  and has_table_privilege($1, c.oid, 'select')
order by c.relname <> 'flows', c.relname, a.attnum`, store.RoleReader)
		if err != nil {
			return fmt.Errorf("schema: %w", err)
		}
		var table, comment string
		var column SchemaColumn
		_, err = pgx.ForEachRow(rows, []any{&table, &comment, &column.Name, &column.Type, &column.Comment}, func() error {
			if n := len(list); n == 0 || list[n-1].Table != table {
				list = append(list, SchemaTable{Table: table, Comment: comment})
			}
			t := &list[len(list)-1]
			t.Columns = append(t.Columns, column)
			return nil
		})
		return err
	})
	return list, err
}
