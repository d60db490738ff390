package table

// Zero returns the zero value of A. Use it for aggregations that start with nothing.
//
//	table.Aggregate(orders, "spent", table.Zero, func(_ string, o Order, cents int64) int64 { return cents + o.Cents })
func Zero[A any]() A {
	var a A
	return a
}
