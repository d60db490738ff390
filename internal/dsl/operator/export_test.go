package operator

// EmitClosed is Waiting.flush, for tests outside.
func EmitClosed[K, O any](w *Unmatched[K, O], now int64, out func(k K, t int64, o O) error) error {
	return w.emitClosed(now, out)
}
