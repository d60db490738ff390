package store_test

import (
	"fmt"

	"github.com/millstream-go/millstream/serde"
	"github.com/millstream-go/millstream/store"
)

// A reference is made once, and opened where the store is used: here by a stand-in for a processor's context.
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
