package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

func main() {
	plain := grpc.WithTransportCredentials(insecure.NewCredentials())
	client, err := flightsql.NewClient(os.Args[1], nil, nil, plain) // localhost:8815
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	schema := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64},
		{Name: "fare", Type: arrow.PrimitiveTypes.Float64},
	}, nil)
	builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	builder.Field(0).(*array.Int64Builder).AppendValues([]int64{1, 2, 3}, nil)
	builder.Field(1).(*array.Float64Builder).AppendValues([]float64{7.5, 7.5, 7.5}, nil)
	rows, err := array.NewRecordReader(schema, []arrow.RecordBatch{builder.NewRecordBatch()})
	if err != nil {
		log.Fatal(err)
	}

	// The server rolls the ingest back when the context is cancelled: always cancel it after an error.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// With its number and an id, the ingest can be sent again after any error, and happens once.
	ctx = metadata.AppendToOutgoingContext(ctx, "x-pgflight-write-id", "trips 1", "x-pgflight-rows", "3")
	public := "public"
	written, err := client.ExecuteIngest(ctx, rows, &flightsql.ExecuteIngestOpts{
		Schema: &public,
		Table:  "trips",
		TableDefinitionOptions: &flightsql.TableDefinitionOptions{
			IfNotExist: flightsql.TableDefinitionOptionsTableNotExistOptionFail,
			IfExists:   flightsql.TableDefinitionOptionsTableExistsOptionAppend,
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(written)
}
