package instance

import "errors"

// Healthy returns nil, or what is wrong with the brokers or the stores.
func (inst *Instance) Healthy() error {
	errs := []error{inst.group.Healthy(), inst.inputFetcher.Healthy(), inst.restoreFetcher.Healthy()}
	if inst.globalFetcher != nil {
		errs = append(errs, inst.globalFetcher.Healthy())
	}
	for _, w := range inst.workers {
		errs = append(errs, w.Healthy())
	}
	if restarting := inst.manager.restarting.Load(); restarting != nil {
		for _, failed := range *restarting {
			errs = append(errs, failed.healthy())
		}
	}
	return errors.Join(append(errs, inst.stores.dir.Healthy())...)
}

// StuckCall returns which call of a user's function does not return, nil when all do.
func (inst *Instance) StuckCall() error { return inst.watchdog.err() }
