//go:build !linux

package run

func adviseRandom([]byte) {}
func adviseSoon([]byte)   {}
func adviseCold([]byte)   {}

const systemPage = 4 << 10
