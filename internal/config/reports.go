package config

// Reports are the questions that millrace report asks.
type Reports struct {
	Dir string
}

func (r *Reports) keys() []key {
	return []key{
		text("dir", &r.Dir, "", "Folder of reports of your own, NAME.sql, beside the built-in ones (docs/reports.md). Empty: none."),
	}
}
