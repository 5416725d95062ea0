// Package topics makes sure that the Kafka topics of the kinds exist and can do
// their work: it creates the missing ones when that is allowed, looks at the
// settings of the others, and says as a command line what an operator has to do.
package topics
