module example.com/publish

go 1.19

require (
	github.com/minio/minio-go/v7 v7.0.46
	github.com/rabbitmq/amqp091-go v1.5.0
)
