package statedir

import "context"

type optionsKey struct{}

// With returns a context whose App opens its directory with o, but for the options that the App
// decides. A simulation wants small transactions and no syncs.
func With(ctx context.Context, o Options) context.Context {
	return context.WithValue(ctx, optionsKey{}, o)
}

// OptionsOf returns the options of a context; the zero ones when it has none.
func OptionsOf(ctx context.Context) Options {
	o, _ := ctx.Value(optionsKey{}).(Options)
	return o
}
