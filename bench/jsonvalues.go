package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	jsonv2 "github.com/go-json-experiment/json"
	gojson "github.com/goccy/go-json"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/stream"
)

// JSON values: a pass-through that decodes and encodes an order of some 250 bytes, by the default codec and by others that a user
// may put in its place.

const (
	jsonTopic = "orders-in-json"
	madeTopic = "orders-made-"
)

// orderValue is what orders in JSON are.
type orderValue struct {
	ID       int64       `json:"id"`
	Customer string      `json:"customer"`
	Currency string      `json:"currency"`
	Lines    []orderLine `json:"lines"`
	Total    int64       `json:"total"`
}

type orderLine struct {
	Article  string  `json:"article"`
	Quantity int     `json:"quantity"`
	Price    float64 `json:"price"`
}

func orderOf(n int64) orderValue {
	o := orderValue{ID: n, Customer: fmt.Sprintf("customer-%08d", n%100_000), Currency: "EUR"}
	for i := range int64(3) {
		o.Lines = append(o.Lines, orderLine{Article: fmt.Sprintf("article-%05d", (n+i*37)%10_000), Quantity: int(1 + (n+i)%9),
			Price: float64(n%1000) + 0.25})
	}
	return o
}

// withTotal is what the App makes of an order.
func withTotal(o orderValue) orderValue {
	for _, l := range o.Lines {
		o.Total += int64(l.Quantity) * int64(100*l.Price)
	}
	return o
}

// codecs are the serdes that are compared. bytes decodes nothing: it is what the App needs without JSON.
var codecs = []string{"bytes", "serde.JSON", "encoding/json v2", "goccy/go-json"}

func codec(name string) serde.Serde[orderValue] {
	marshal, unmarshal := gojson.Marshal, gojson.Unmarshal
	switch name {
	case "serde.JSON":
		return serde.JSON[orderValue]()
	case "encoding/json v2":
		marshal = func(v any) ([]byte, error) { return jsonv2.Marshal(v) }
		unmarshal = func(b []byte, v any) error { return jsonv2.Unmarshal(b, v) }
	}
	return serde.Func(
		func(dst []byte, v orderValue) ([]byte, error) {
			b, err := marshal(v)
			return append(dst, b...), err
		},
		func(b []byte) (v orderValue, err error) {
			err = unmarshal(b, &v)
			return v, err
		})
}

var jsonProgram = program{app: func(b *stream.Builder, s spec) {
	if s.Format == "bytes" {
		pass(b, jsonTopic, madeTopic+s.Round)
		return
	}
	c := codec(s.Format)
	in := stream.From(b, stream.NewTopic(jsonTopic, serde.Bytes, c))
	stream.To(stream.MapValues(in, withTotal), stream.NewTopic(madeTopic+s.Round, serde.Bytes, c))
}}

func (b *bench) jsonValues(ctx context.Context, _ int64) error {
	if err := b.create(ctx, jsonTopic); err != nil {
		return err
	}
	records, warm := b.withoutState()
	bytes, err := b.loadValues(ctx, jsonTopic, records, func(n int64) []byte {
		text, err := json.Marshal(orderOf(n))
		if err != nil {
			panic(err) // an order has nothing that JSON has not
		}
		return text
	})
	if err != nil {
		return err
	}
	t := b.report.sheet(fmt.Sprintf("JSON values of %d bytes", bytes/records), "codec", "CPU µs/record", "records/s", "allocs/record", "B/record")
	for i, name := range codecs {
		s := spec{Workload: "json", Kind: kindApp, Broker: b.broker, Records: records, Warm: warm, Round: fmt.Sprint(i), Format: name,
			Profile: b.profileOf("json-" + fmt.Sprint(i))}
		s.StateDir = b.state(s) + s.Round
		if err := b.create(ctx, madeTopic+s.Round); err != nil {
			return err
		}
		r, _, err := measure(ctx, s)
		if err != nil {
			return err
		}
		if err := b.verifyJSON(ctx, s); err != nil {
			return err
		}
		t.add(name, fmt.Sprintf("%.2f", r.CPU), fmt.Sprintf("%.0f k", float64(r.Records)/r.Seconds/1000), fmt.Sprintf("%.1f", r.Allocs),
			fmt.Sprintf("%.0f", r.Bytes))
	}
	return nil
}

// verifyJSON checks that each order came out once, with its total.
func (b *bench) verifyJSON(ctx context.Context, s spec) error {
	seen, topic := int64(0), madeTopic+s.Round
	err := b.read(ctx, topic, func(r *kgo.Record) error {
		want := orderOf(number(r.Key))
		if s.Format != "bytes" {
			want = withTotal(want)
		}
		var got orderValue
		if err := json.Unmarshal(r.Value, &got); err != nil {
			return err
		}
		if !equalOrders(got, want) {
			return fmt.Errorf("order %d is %+v, not %+v", want.ID, got, want)
		}
		seen++
		return nil
	})
	return expect(err, topic, seen, s.Records)
}

func equalOrders(x, y orderValue) bool {
	return x.ID == y.ID && x.Customer == y.Customer && x.Currency == y.Currency && x.Total == y.Total && slices.Equal(x.Lines, y.Lines)
}
