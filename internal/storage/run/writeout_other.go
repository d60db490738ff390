//go:build !linux || !(amd64 || arm64)

package run

import "os"

func writeOut(*os.File) {}
