//go:build kafka

package main

import (
	"testing"

	"github.com/millstream-go/millstream/tests/kafkatest"
)

func TestKafkaService(t *testing.T) {
	node := kafkatest.Start(t, kafkatest.Options{})
	serviceOn(t, []string{node.Addr})
}
