// Package sqltext finds its way in what ClickHouse writes: the text of a type,
// of a CREATE TABLE, of a TTL. It looks past quotes and parentheses and knows
// nothing else of the language.
//
// It takes any text: quotes and parentheses that are never closed reach to the
// end. What it returns are parts of its argument.
package sqltext
