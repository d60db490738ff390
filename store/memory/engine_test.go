package memory_test

import (
	"testing"

	"github.com/millstream-go/millstream/store"
	"github.com/millstream-go/millstream/store/memory"
	"github.com/millstream-go/millstream/store/storetest"
)

func TestEngine(t *testing.T) {
	storetest.Run(t, func(testing.TB) storetest.Store {
		return storetest.Store{
			Open:  func(testing.TB) store.Engine { return memory.New(nil) },
			Large: true,
		}
	})
}
