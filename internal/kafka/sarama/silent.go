package sarama

import "github.com/rcrowley/go-metrics"

// silent is a registry that measures nothing. Sarama's meters would cost CPU on each request and start a ticker goroutine for
// the process; the switch that go-metrics has for that is process-wide, which is not a library's to throw.
type silent struct{}

func (silent) Each(func(string, any)) {}
func (silent) Get(string) any         { return nil }

// GetOrRegister returns the nil metric of the kind that make would build.
func (silent) GetOrRegister(_ string, make any) any {
	switch make.(type) {
	case func() metrics.Meter, metrics.Meter:
		return metrics.NilMeter{}
	case func() metrics.Histogram, metrics.Histogram:
		return metrics.NilHistogram{}
	case func() metrics.Counter, metrics.Counter:
		return metrics.NilCounter{}
	case func() metrics.Timer, metrics.Timer:
		return metrics.NilTimer{}
	case func() metrics.Gauge, metrics.Gauge:
		return metrics.NilGauge{}
	}
	return make
}

func (silent) Register(string, any) error        { return nil }
func (silent) RunHealthchecks()                  {}
func (silent) GetAll() map[string]map[string]any { return nil }
func (silent) Unregister(string)                 {}
func (silent) UnregisterAll()                    {}
