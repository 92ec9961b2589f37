// Runs steps against a pgflight server by arrow-go's Flight SQL client. Each line of the input is a step, a JSON object;
// each line of the output is its answer. python/tests/clients has the steps.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// step is one line of the input. Do says which of the other fields count.
type step struct {
	Do          string
	Server      string
	SQL         string
	Table       string
	Schema      *string
	Catalog     *string
	Mode        string
	First       int64
	Rows        int64
	Batch       int64
	FailAfter   *int64 `json:"fail_after"`
	Temporary   bool
	Headers     map[string]string
	Compression string
	Transaction bool
	Connections int64
	Times       int64
}

type answer map[string]any

// session is a connection and its open transaction.
type session struct {
	address     string
	client      *flightsql.Client
	transaction *flightsql.Txn
}

func main() {
	var s session
	lines := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var next step
		if err := json.Unmarshal(lines.Bytes(), &next); err != nil {
			panic(err)
		}
		result, err := s.run(context.Background(), next)
		if err != nil {
			result = answer{"error": err.Error()}
		}
		if err := out.Encode(result); err != nil {
			panic(err)
		}
	}
}

func dial(address string) (*flightsql.Client, error) {
	plain := grpc.WithTransportCredentials(insecure.NewCredentials())
	return flightsql.NewClient(address, nil, nil, plain)
}

func (s *session) run(ctx context.Context, next step) (answer, error) {
	// The client leaves a call open when the reader of its rows fails: only the context ends it.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for name, value := range next.Headers {
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	switch next.Do {
	case "connect":
		s.address = next.Server
		var err error
		s.client, err = dial(s.address)
		return answer{}, err
	case "disconnect":
		return answer{}, s.client.Close()
	case "ingest":
		return counted(s.ingest(ctx, next))
	case "concurrent":
		return counted(concurrent(ctx, s.address, next))
	case "begin":
		var err error
		s.transaction, err = s.client.BeginTransaction(ctx)
		return answer{}, err
	case "commit":
		return answer{}, s.transaction.Commit(ctx)
	case "rollback":
		return answer{}, s.transaction.Rollback(ctx)
	case "update":
		if next.Transaction {
			return counted(s.transaction.ExecuteUpdate(ctx, next.SQL))
		}
		return counted(s.client.ExecuteUpdate(ctx, next.SQL))
	case "prepare":
		return counted(s.prepared(ctx, next))
	case "database":
		return counted(insertByDatabaseSQL(ctx, s.address, next))
	case "catalogs", "schemas", "tables", "keys", "types", "facts":
		return s.metadata(ctx, next)
	}
	return nil, fmt.Errorf("no step %q", next.Do)
}

func counted(rows int64, err error) (answer, error) { return answer{"rows": rows}, err }
