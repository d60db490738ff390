package op

import "reflect"

// Fold folds the records of a key into one row: count, reduce and aggregate.
type Fold[K, V, A any] struct {
	Rows *Rows[K, A]
	// Start makes the value to which the first record of a key is added; nil: Add makes it of the record alone.
	Start func() A
	// Add returns the row's new value; a is that of the row, or of Start, or the zero value. It may change a and return it. row says
	// that there is a row.
	Add func(k K, v V, a A, row bool) A
	// Delete says that the row is to be deleted. May be nil.
	Delete func(K, A) bool
	// Old says that results carry old values.
	Old bool
}

// Folded is what became of a row.
type Folded[A any] struct {
	New    A // the zero value when Gone
	Gone   bool
	Time   int64
	Old    A
	HasOld bool
	Row    bool // there was a row before
}

// Record folds a record in. The row's time is the greatest of its records' times. Where there is no row, the old value is that of
// Start, if it is not nil: Kafka Streams sends it so, and a filter that lets it pass will say that it is gone.
func (f *Fold[K, V, A]) Record(k K, v V, at int64) (Folded[A], error) {
	var res Folded[A]
	a, was, ok, err := f.Rows.Load(k)
	if err != nil {
		return res, err
	}
	res.Row = ok
	if res.Time = at; ok {
		res.Time = max(at, was)
	} else if f.Start != nil {
		a = f.Start()
	}
	if f.Old {
		if res.Old, res.HasOld, err = f.old(ok); err != nil {
			return res, err
		}
	}
	a = f.Add(k, v, a, ok)
	if f.Delete != nil && f.Delete(k, a) {
		res.Gone = true
		return res, f.Rows.Delete(at)
	}
	res.New = a
	return res, f.Rows.Save(a, res.Time)
}

// old makes the old value apart from the one that Add is given: Add may change that one, and what it returns may share its memory.
func (f *Fold[K, V, A]) old(row bool) (a A, ok bool, err error) {
	if row {
		a, err = f.Rows.Again()
		return a, true, err
	}
	if f.Start == nil {
		return a, false, nil
	}
	a = f.Start()
	return a, !isNil(&a), nil
}

func isNil[A any](a *A) bool {
	switch v := reflect.ValueOf(a).Elem(); v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface, reflect.Func, reflect.Chan:
		return v.IsNil()
	}
	return false
}
