package main

import (
	"bytes"
	"context"
	"database/sql"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	_ "github.com/apache/arrow-go/v18/arrow/flight/flightsql/driver"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// metadata asks what the step says, and answers with the rows, each a list of texts.
func (s *session) metadata(ctx context.Context, next step) (answer, error) {
	var info *flight.FlightInfo
	var err error
	switch next.Do {
	case "catalogs":
		info, err = s.client.GetCatalogs(ctx)
	case "schemas":
		info, err = s.client.GetDBSchemas(ctx, &flightsql.GetDBSchemasOpts{
			Catalog: next.Catalog, DbSchemaFilterPattern: next.Schema,
		})
	case "tables":
		info, err = s.client.GetTables(ctx, &flightsql.GetTablesOpts{
			Catalog: next.Catalog, DbSchemaFilterPattern: next.Schema,
			TableNameFilterPattern: &next.Table, IncludeSchema: true,
		})
	case "keys":
		ref := flightsql.TableRef{Catalog: next.Catalog, DBSchema: next.Schema, Table: next.Table}
		info, err = s.client.GetPrimaryKeys(ctx, ref)
	case "types":
		info, err = s.client.GetTableTypes(ctx)
	case "facts":
		info, err = s.client.GetSqlInfo(ctx, []flightsql.SqlInfo{
			flightsql.SqlInfoFlightSqlServerName,
			flightsql.SqlInfoFlightSqlServerTransaction,
			flightsql.SqlInfoFlightSqlServerBulkIngestion,
		})
	}
	if err != nil {
		return nil, err
	}
	found := [][]any{}
	for _, endpoint := range info.Endpoint {
		reader, err := s.client.DoGet(ctx, endpoint.Ticket)
		if err != nil {
			return nil, err
		}
		for reader.Next() {
			found = append(found, texts(reader.RecordBatch())...)
		}
		err = reader.Err()
		reader.Release()
		if err != nil {
			return nil, err
		}
	}
	return answer{"found": found}, nil
}

// texts returns the rows of a batch. An Arrow schema becomes the names of its fields.
func texts(batch arrow.RecordBatch) [][]any {
	rows := make([][]any, batch.NumRows())
	for i := range rows {
		for j, column := range batch.Columns() {
			rows[i] = append(rows[i], text(batch.ColumnName(j), column, i))
		}
	}
	return rows
}

func text(name string, column arrow.Array, i int) any {
	if name == "table_schema" {
		stored := column.(*array.Binary).Value(i)
		reader, err := ipc.NewReader(bytes.NewReader(stored), ipc.WithAllocator(memory.DefaultAllocator))
		if err != nil {
			panic(err)
		}
		defer reader.Release()
		fields := []string{}
		for _, field := range reader.Schema().Fields() {
			fields = append(fields, field.Name)
		}
		return fields
	}
	if union, ok := column.(*array.DenseUnion); ok {
		child := union.Field(union.ChildID(i))
		return child.ValueStr(int(union.ValueOffset(i)))
	}
	return column.ValueStr(i)
}

// insertByDatabaseSQL inserts row by row, as programs do that use Go's own interface to databases.
func insertByDatabaseSQL(ctx context.Context, address string, next step) (int64, error) {
	db, err := sql.Open("flightsql", "flightsql://"+address)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	insert, err := db.PrepareContext(ctx, next.SQL)
	if err != nil {
		return 0, err
	}
	defer insert.Close()
	total := int64(0)
	for id := next.First; id < next.First+next.Rows; id++ {
		var name any
		if id%3 != 0 {
			name = "näme"
		}
		done, err := insert.ExecContext(ctx, id, name, float64(id)/4)
		if err != nil {
			return total, err
		}
		written, err := done.RowsAffected()
		if err != nil {
			return total, err
		}
		total += written
	}
	return total, nil
}
