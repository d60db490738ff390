//go:build !unix

package bolt_test

import "errors"

func childFullDisk(workload, string) error { return errors.New("there is no limit on files here") }
