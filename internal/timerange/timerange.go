// Package timerange is the range of times that records and rows of stores may have. The documentation of
// package topology describes it for users.
package timerange

import (
	"fmt"
	"time"
)

// Max is the latest time, in milliseconds since 1970: the end of the year 9999, up to which RFC 3339
// goes. Its sum with any time.Duration in milliseconds does not overflow an int64.
const Max = maxSeconds*1000 + 999

const maxSeconds = 253_402_300_799

// Check returns an error for the time of a record before 1970 or after Max.
func Check(t time.Time) error {
	if s := t.Unix(); s >= 0 && s <= maxSeconds {
		return nil
	}
	return outOfRange(t)
}

// CheckMillis is Check for milliseconds since 1970.
func CheckMillis(ms int64) error {
	if ms >= 0 && ms <= Max {
		return nil
	}
	return outOfRange(time.UnixMilli(ms))
}

func outOfRange(t time.Time) error {
	return fmt.Errorf("its time is %s; records have times from 1970 to the year 9999", t.UTC().Format(time.RFC3339Nano))
}

// Clamp returns the nearest time in the range. It leaves -1, which stands for no time.
func Clamp(ms int64) int64 { return min(max(ms, -1), Max) }
