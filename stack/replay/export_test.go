package replay

// SetStep lets a test end a run between two of its steps.
func (o *Options) SetStep(f func(name string) error) { o.step = f }
