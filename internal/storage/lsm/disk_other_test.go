//go:build !unix

package lsm_test

import (
	"errors"

	"github.com/millstream-go/millstream/internal/storage/storagetest"
)

func childFullDisk(storagetest.Workload, string) error {
	return errors.New("there is no limit on files here")
}
