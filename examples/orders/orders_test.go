package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/testdriver"
)

func TestOrders(t *testing.T) {
	top, err := build()
	require.NoError(t, err)
	d := testdriver.New(t, top)
	in := testdriver.Input(d, orders).At(time.Date(2026, 5, 1, 9, 0, 0, 0, time.UTC)).Advancing(time.Minute)
	in.SendValues(Order{"anna", 250}, Order{"ben", 120}, Order{"anna", 50})

	in.SendValue(Order{Customer: "anna"})       // no amount
	in.SendBytes(nil, []byte(`{"customer":17`)) // no JSON

	assert.Equal(t, map[string]Total{"anna": {Orders: 2, Cents: 300}, "ben": {Orders: 1, Cents: 120}}, testdriver.Table(testdriver.Output(d, totals)))
	letters := d.Raw("orders-rejected")
	require.Len(t, letters, 2)
	assert.Equal(t, `{"customer":17`, string(letters[1].Value), "as it was read, with the reason in its headers")
}

// The README shows the program and its test as they are.
func TestOrders_ReadmeShowsTheProgram(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	program, err := os.ReadFile("orders.go")
	require.NoError(t, err)
	assert.Contains(t, string(readme), "```go\n"+string(program)+"```")
	tests, err := os.ReadFile("orders_test.go")
	require.NoError(t, err)
	_, test, _ := strings.Cut(string(tests), "func TestOrders(")
	test, _, ok := strings.Cut(test, "\n}\n")
	require.True(t, ok)
	assert.Contains(t, string(readme), "```go\nfunc TestOrders("+test+"\n}\n```")
}
