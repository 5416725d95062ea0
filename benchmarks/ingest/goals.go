package main

// Goal is a figure that was promised, and whether it is kept.
type Goal struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}
