package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/millstream-go/millstream/testdriver"
)

func TestForeignKey(t *testing.T) {
	top, err := build()
	require.NoError(t, err)
	d := testdriver.New(t, top, testdriver.TopicPartitions("orders", 4), testdriver.TopicPartitions("customers", 3))
	order, customer, out := testdriver.Input(d, orders), testdriver.Input(d, customers), testdriver.Output(d, shipments)

	order.Send(1, Order{Customer: "anna", Item: "pears"})
	order.Send(2, Order{Customer: "anna", Item: "plums"})
	assert.True(t, out.IsEmpty(), "the customer is not known yet")

	customer.Send("anna", Customer{Name: "Anna", City: "Rome"})
	customer.Send("anna", Customer{Name: "Anna", City: "Oslo"})
	order.Delete(2)
	assert.Equal(t, map[int64]Shipment{1: {Item: "pears", Name: "Anna", City: "Oslo"}}, testdriver.Table(out))
}
