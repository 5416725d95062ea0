// Package kafkagroup lets a member leave a consumer group of kafka-go in bounded time:
// kafka-go waits for the answer to a JoinGroup for up to two minutes, whatever is asked of
// it meanwhile.
package kafkagroup
