package sarama

import "github.com/rcrowley/go-metrics"

// noopMetrics is a registry that measures nothing. Sarama's meters would cost CPU on each request
// and start a ticker goroutine for the process. Why not the switch that go-metrics has for that: it
// is of the whole process, and a library must not turn it.
type noopMetrics struct{}

func (noopMetrics) Each(func(string, any)) {}
func (noopMetrics) Get(string) any         { return nil }

// GetOrRegister returns the nil metric of the kind that make would build.
func (noopMetrics) GetOrRegister(_ string, make any) any {
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

func (noopMetrics) Register(string, any) error        { return nil }
func (noopMetrics) RunHealthchecks()                  {}
func (noopMetrics) GetAll() map[string]map[string]any { return nil }
func (noopMetrics) Unregister(string)                 {}
func (noopMetrics) UnregisterAll()                    {}
