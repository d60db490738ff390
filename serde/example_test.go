package serde_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/millstream-go/millstream/serde"
)

// must keeps the examples short.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func Example() {
	b := must(serde.Int64.Append(nil, 258))
	fmt.Printf("%x %d\n", b, must(serde.Int64.Decode(b)))
	_, err := serde.Int64.Decode(b[:4])
	fmt.Println(err)
	// Output:
	// 0000000000000102 258
	// serde.Int64: got 4 bytes, want 8
}

func ExampleJSON() {
	type user struct {
		Name string `json:"name"`
	}
	users := serde.JSON[user]()
	fmt.Println(string(must(users.Append(nil, user{"Ada"}))))
	fmt.Println(must(users.Decode([]byte(`{"name": "Grace", "unknown": 1}`))).Name)
	// Output:
	// {"name":"Ada"}
	// Grace
}

// A number in a value of type any keeps its text, so that none is rounded.
func ExampleJSON_any() {
	events := serde.JSON[map[string]any]()
	v := must(events.Decode([]byte(`{"id": 9007199254740993, "price": 1.10}`)))
	id := must(v["id"].(json.Number).Int64())
	price := must(v["price"].(json.Number).Float64())
	fmt.Println(id, price)
	fmt.Println(string(must(events.Append(nil, v))))
	// Output:
	// 9007199254740993 1.1
	// {"id":9007199254740993,"price":1.10}
}

// A type of one's own on a basic serde: hours as decimal text.
func ExampleFunc() {
	hours := serde.Func(
		func(dst []byte, d time.Duration) ([]byte, error) {
			return strconv.AppendFloat(dst, d.Hours(), 'f', -1, 64), nil
		},
		func(b []byte) (time.Duration, error) {
			h, err := strconv.ParseFloat(string(b), 64)
			return time.Duration(h * float64(time.Hour)), err
		})
	fmt.Println(string(must(hours.Append(nil, 90*time.Minute))), must(hours.Decode([]byte("0.25"))))
	// Output: 1.5 15m0s
}

func ExampleSlice() {
	tags := serde.Slice(serde.String)
	b := must(tags.Append(nil, []string{"red", "blue"}))
	fmt.Printf("%q\n", must(tags.Decode(b)))
	// Output: ["red" "blue"]
}

func ExampleUUID() {
	b := must(serde.UUID.Append(nil, [16]byte{0: 0xab, 15: 1}))
	fmt.Printf("%s\n", b)
	// Output: ab000000-0000-0000-0000-000000000001
}

func ExampleTime() {
	b := must(serde.Time.Append(nil, time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)))
	fmt.Println(must(serde.Int64.Decode(b)))
	// Output: 1777593600000
}

func ExampleFind() {
	type order struct{ Cents int }
	_, err := serde.Find[order](nil)
	fmt.Println(err != nil)

	s := must(serde.Find[order](&serde.Registry{Fallback: serde.JSONCodec}))
	fmt.Println(string(must(s.Append(nil, order{250}))))
	// Output:
	// true
	// {"Cents":250}
}

func ExampleRegister() {
	type celsius float64
	r := &serde.Registry{}
	serde.Register(r, serde.Func(
		func(dst []byte, c celsius) ([]byte, error) { return serde.Float64.Append(dst, float64(c)) },
		func(b []byte) (celsius, error) { v, err := serde.Float64.Decode(b); return celsius(v), err }))
	s := must(serde.Find[celsius](r))
	fmt.Println(must(s.Decode(must(s.Append(nil, 21.5)))))
	// Output: 21.5
}
