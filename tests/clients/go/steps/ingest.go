package main

import (
	"context"
	"errors"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

var schema = arrow.NewSchema([]arrow.Field{
	{Name: "id", Type: arrow.PrimitiveTypes.Int64},
	{Name: "name", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "amount", Type: arrow.PrimitiveTypes.Float64},
	{Name: "at", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}},
}, nil)

// rows yields `next.Rows` rows in batches. It fails after `next.FailAfter` batches.
func rows(next step) array.RecordReader {
	size := next.Batch
	if size == 0 {
		size = 10_000
	}
	return array.ReaderFromIter(schema, func(yield func(arrow.RecordBatch, error) bool) {
		batches := int64(0)
		for from := int64(0); from < next.Rows; from += size {
			if next.FailAfter != nil && batches == *next.FailAfter {
				yield(nil, errors.New("the source broke"))
				return
			}
			if !yield(batch(next.First+from, min(size, next.Rows-from)), nil) {
				return
			}
			batches++
		}
	})
}

// batch makes the rows that the tests expect for the ids from `first`.
func batch(first, rows int64) arrow.RecordBatch {
	builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer builder.Release()
	name := builder.Field(1).(*array.StringBuilder)
	for id := first; id < first+rows; id++ {
		builder.Field(0).(*array.Int64Builder).Append(id)
		if id%3 == 0 {
			name.AppendNull()
		} else {
			name.Append("näme")
		}
		builder.Field(2).(*array.Float64Builder).Append(float64(id) / 4)
		builder.Field(3).(*array.TimestampBuilder).Append(arrow.Timestamp(id * 1_000_001))
	}
	return builder.NewRecordBatch()
}

// modes are those of ADBC, as its drivers send them.
var modes = map[string]*flightsql.TableDefinitionOptions{
	"create": {
		IfNotExist: flightsql.TableDefinitionOptionsTableNotExistOptionCreate,
		IfExists:   flightsql.TableDefinitionOptionsTableExistsOptionFail,
	},
	"append": {
		IfNotExist: flightsql.TableDefinitionOptionsTableNotExistOptionFail,
		IfExists:   flightsql.TableDefinitionOptionsTableExistsOptionAppend,
	},
	"replace": {
		IfNotExist: flightsql.TableDefinitionOptionsTableNotExistOptionCreate,
		IfExists:   flightsql.TableDefinitionOptionsTableExistsOptionReplace,
	},
	"create_append": {
		IfNotExist: flightsql.TableDefinitionOptionsTableNotExistOptionCreate,
		IfExists:   flightsql.TableDefinitionOptionsTableExistsOptionAppend,
	},
}

func (s *session) ingest(ctx context.Context, next step) (int64, error) {
	options := flightsql.ExecuteIngestOpts{
		TableDefinitionOptions: modes[next.Mode],
		Table:                  next.Table,
		Schema:                 next.Schema,
		Catalog:                next.Catalog,
		Temporary:              next.Temporary,
	}
	if next.Transaction {
		options.TransactionId = s.transaction.ID()
	}
	reader := rows(next)
	defer reader.Release()
	var ipcOptions []ipc.Option
	switch next.Compression {
	case "lz4":
		ipcOptions = append(ipcOptions, ipc.WithLZ4())
	case "zstd":
		ipcOptions = append(ipcOptions, ipc.WithZstd())
	}
	return s.client.ExecuteIngestWithIPC(ctx, reader, &options, ipcOptions)
}

// prepared binds rows to a prepared INSERT.
func (s *session) prepared(ctx context.Context, next step) (int64, error) {
	prepare := s.client.Prepare
	if next.Transaction {
		prepare = s.transaction.Prepare
	}
	statement, err := prepare(ctx, next.SQL)
	if err != nil {
		return 0, err
	}
	reader := rows(next)
	defer reader.Release()
	statement.SetRecordReader(reader)
	written, err := statement.ExecuteUpdate(ctx)
	return written, errors.Join(err, statement.Close(ctx))
}

// concurrent ingests by several connections at a time, each several times with its own ids.
func concurrent(ctx context.Context, address string, next step) (int64, error) {
	var (
		group  sync.WaitGroup
		lock   sync.Mutex
		total  int64
		failed error
	)
	for k := range next.Connections {
		group.Go(func() {
			own := next
			own.First = next.First + k*next.Rows
			client, err := dial(address)
			if err == nil {
				defer client.Close()
			}
			s := session{client: client}
			for i := int64(0); i < next.Times && err == nil; i++ {
				var written int64
				written, err = s.ingest(ctx, own)
				lock.Lock()
				total += written
				lock.Unlock()
			}
			lock.Lock()
			failed = errors.Join(failed, err)
			lock.Unlock()
		})
	}
	group.Wait()
	return total, failed
}
