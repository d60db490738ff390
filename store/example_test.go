package store_test

import (
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
)

// A reference is made once, and opened where the store is used: here by a stand-in for a
// processor's context.
func ExampleNewKeyValue() {
	totals := store.NewKeyValue("totals", serde.String, serde.Int64)

	s := totals.In(newTask())
	_ = s.Put("pears", 3)
	_ = s.Put("apples", 5)
	for row, err := range s.Range(store.From("b")) {
		fmt.Println(row.Key, row.Value, err)
	}
	// Output: pears 3 <nil>
}

func ExamplePrefix() {
	s := store.NewKeyValue("users", serde.String, serde.String).In(newTask())
	_ = s.Put("de/anna", "Anna")
	_ = s.Put("de/bert", "Bert")
	_ = s.Put("fr/chloe", "Chloé")
	for row, err := range store.Prefix(s, "de/") {
		fmt.Println(row.Value, err)
	}
	// Output:
	// Anna <nil>
	// Bert <nil>
}

// fruit returns a store with the numbers of five kinds of fruit, in the order of their names.
func fruit() store.KeyValue[string, int64] {
	s := store.NewKeyValue("fruit", serde.String, serde.Int64).In(newTask())
	for i, name := range []string{"apple", "cherry", "fig", "pear", "plum"} {
		_ = s.Put(name, int64(i))
	}
	return s
}

// printKeys prints what a range visits.
func printKeys(rows iter.Seq2[store.Row[string, int64], error]) {
	var keys []string
	for row, err := range rows {
		if err != nil {
			panic(err)
		}
		keys = append(keys, row.Key)
	}
	fmt.Println(strings.Join(keys, " "))
}

func ExampleFrom() {
	printKeys(fruit().Range(store.From("fig")))
	printKeys(fruit().Range(store.From("fig"), store.To("pear")))
	// Output:
	// fig pear plum
	// fig pear
}

func ExampleAbove() {
	printKeys(fruit().Range(store.Above("fig")))
	// Output: pear plum
}

func ExampleTo() {
	printKeys(fruit().Range(store.To("fig")))
	printKeys(fruit().Backward(store.To("fig")))
	// Output:
	// apple cherry fig
	// fig cherry apple
}

func ExampleBelow() {
	printKeys(fruit().Range(store.Below("fig")))
	// Output: apple cherry
}

func ExamplePrefixBackward() {
	printKeys(store.PrefixBackward(fruit(), "p"))
	// Output: plum pear
}

// Signed numbers are in the order of their bytes: negative ones come after all others. A range over
// both is an error; its parts are not.
func ExampleFrom_negative() {
	s := store.NewKeyValue("balances", serde.Int64, serde.String).In(newTask())
	for _, k := range []int64{-7, -1, 0, 5} {
		_ = s.Put(k, "")
	}
	for _, err := range s.Range(store.From(int64(-7)), store.To(int64(5))) {
		fmt.Println(errors.Is(err, store.ErrRangeReversed))
	}
	for row := range s.Range(store.From(int64(-7)), store.To(int64(-1))) {
		fmt.Println(row.Key)
	}
	for row := range s.Range(store.From(int64(0)), store.To(int64(5))) {
		fmt.Println(row.Key)
	}
	// Output:
	// true
	// -7
	// -1
	// 0
	// 5
}
