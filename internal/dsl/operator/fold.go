package operator

import "reflect"

// Fold folds the records of a key into one row: count, reduce and aggregate.
type Fold[K, V, A any] struct {
	Rows *Rows[K, A]
	// Start makes the value that the first record of a key is added to. Nil: Add makes a value from
	// the record alone.
	Start func() A
	// Add returns the new value of the row. a is the row's value, or that of Start, or the zero
	// value; Add may change it and return it. exists reports whether there is a row.
	Add func(k K, v V, a A, exists bool) A
	// Delete reports whether the row is to be deleted. May be nil.
	Delete func(K, A) bool
	// Old has results carry old values.
	Old bool
}

// FoldResult is what became of a row.
type FoldResult[A any] struct {
	New     A // the zero value when Deleted
	Deleted bool
	Time    int64
	Old     A
	HasOld  bool
	Existed bool // there was a row before
}

// Record folds a record into the row of its key. The row's time is the greatest of its records'
// times.
func (f *Fold[K, V, A]) Record(key K, value V, at int64) (FoldResult[A], error) {
	var res FoldResult[A]
	aggregate, rowTime, ok, err := f.Rows.Load(key)
	if err != nil {
		return res, err
	}
	res.Existed = ok
	if res.Time = at; ok {
		res.Time = max(at, rowTime)
	} else if f.Start != nil {
		aggregate = f.Start()
	}
	// The old value is decoded before Add runs: Add may change the value that it gets, and return
	// memory that it shares with it.
	if f.Old {
		if res.Old, res.HasOld, err = f.oldValue(ok); err != nil {
			return res, err
		}
	}
	aggregate = f.Add(key, value, aggregate, ok)
	// A row that Delete removes was still changed by this record: the deletion is a result, even if
	// there was no row.
	if f.Delete != nil && f.Delete(key, aggregate) {
		res.Deleted = true
		return res, f.Rows.Delete(at)
	}
	res.New = aggregate
	return res, f.Rows.Save(aggregate, res.Time)
}

// oldValue returns the old value in memory that Add does not share.
//
// Where there is no row, the old value is that of Start, unless it is nil. Kafka Streams sends it
// so, and a filter that accepts this value then reports the row as deleted.
func (f *Fold[K, V, A]) oldValue(row bool) (agg A, ok bool, err error) {
	if row {
		agg, err = f.Rows.DecodeAgain()
		return agg, true, err
	}
	if f.Start == nil {
		return agg, false, nil
	}
	agg = f.Start()
	return agg, !isNil(&agg), nil
}

func isNil[A any](a *A) bool {
	switch v := reflect.ValueOf(a).Elem(); v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface, reflect.Func, reflect.Chan:
		return v.IsNil()
	}
	return false
}
