// Publish has a farm compile a model.
//
//	go mod tidy && go build -o publish .
//	. farm/env
//	./publish digits.onnx nucleo-l4r5zi digits.zip farm/keys/builder-*.pub
//
// It ends with 0 for a module, 2 if the request was rejected (stderr says why), 1 for anything else.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Files of up to this many bytes may travel inside the message; larger ones are uploaded first.
const inline = 48*1024 - 1

var (
	tenant = variable("TINYMLAAS_TENANT", "default")
	prefix = variable("TINYMLAAS_QUEUE_PREFIX", "")
	// Trying again would not help: the broker has nobody who takes requests.
	errUnroutable = errors.New("RabbitMQ does not take the request: is a farm there?")
	errGone       = errors.New("the connection is gone")
)

// request is a CloudEvent. Its ID is the job's: sent twice it is one job.
type request struct {
	SpecVersion string `json:"specversion"`
	Type        string `json:"type"`
	Source      string `json:"source"`
	ID          string `json:"id"`
	Data        order  `json:"data"`
}

type order struct {
	Tenant string  `json:"tenant"`
	Name   string  `json:"name"`
	Board  string  `json:"board"`
	Model  payload `json:"model"`
}

// payload is a file, inline or by the place where it was uploaded.
type payload struct {
	Digest    string `json:"digest"`
	Inline    string `json:"inline,omitempty"`
	Reference string `json:"reference,omitempty"`
}

type ended struct {
	Type string `json:"type"`
	Data struct {
		JobID   string   `json:"job_id"`
		State   string   `json:"state"`
		Reasons []string `json:"reasons"`
		Result  struct {
			Module string `json:"module"`
		} `json:"result"`
	} `json:"data"`
}

// ask publishes the request and returns the job's final event.
func ask(id string, body []byte) (*ended, error) {
	connection, err := amqp.Dial(os.Getenv("TINYMLAAS_AMQP_URL"))
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	channel, err := connection.Channel()
	if err != nil {
		return nil, err
	}
	if err := channel.Confirm(false); err != nil {
		return nil, err
	}
	returned := channel.NotifyReturn(make(chan amqp.Return, 1))
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	queue, err := channel.QueueDeclare("reply."+random(), false, false, true, false, nil)
	if err != nil {
		return nil, err
	}
	answers, err := channel.Consume(queue.Name, "", true, true, false, false, nil)
	if err != nil {
		return nil, err
	}
	confirm, err := channel.PublishWithDeferredConfirmWithContext(
		context.Background(), prefix+"tinymlaas.requests", "compile."+tenant, true, false,
		amqp.Publishing{
			ContentType:  "application/cloudevents+json",
			DeliveryMode: amqp.Persistent,
			ReplyTo:      queue.Name,
			Body:         body,
		})
	if err != nil {
		return nil, err
	}
	if !confirm.Wait() { // true: from here on the job is not lost, whatever dies
		select {
		case reason, open := <-closed:
			if open {
				return nil, reason
			}
			return nil, errGone
		default:
			return nil, errUnroutable
		}
	}
	fmt.Println("sent: job", id)
	for {
		select {
		case _, open := <-returned:
			if open {
				return nil, errUnroutable
			}
			return nil, errGone
		case answer, open := <-answers:
			if !open {
				return nil, errGone
			}
			var event ended
			if err := json.Unmarshal(answer.Body, &event); err != nil {
				return nil, err
			}
			if event.Type == "tinymlaas.job.result.v1" && event.Data.JobID == id {
				return &event, nil
			}
		}
	}
}

// refused tells whether trying again would not help: RabbitMQ does not let us in, or has no farm.
func refused(err error) bool {
	var reason *amqp.Error
	if errors.As(err, &reason) {
		return reason.Code == amqp.AccessRefused || reason.Code == amqp.NotFound
	}
	return errors.Is(err, errUnroutable)
}

// askUntilAnswered asks again whenever the connection is lost: the same request finds its job, or
// the job's end.
func askUntilAnswered(id string, body []byte) (*ended, error) {
	for {
		end, err := ask(id, body)
		if err == nil || refused(err) {
			return end, err
		}
		fmt.Fprintln(os.Stderr, "connecting again:", err)
		time.Sleep(time.Second)
	}
}

func run(model, board, out string, trusted []string) (int, error) {
	data, err := os.ReadFile(model)
	if err != nil {
		return 1, err
	}
	bucket, err := openBucket()
	if err != nil {
		return 1, err
	}
	named, err := bucket.payload(data)
	if err != nil {
		return 1, err
	}
	id := "go-" + random()
	body, err := json.Marshal(request{
		"1.0", "tinymlaas.compile.request.v1", "/publish.go", id, order{tenant, "model", board, named},
	})
	if err != nil {
		return 1, err
	}
	end, err := askUntilAnswered(id, body)
	if err != nil {
		return 1, err
	}
	switch end.Data.State {
	case "done":
		module, err := bucket.verified(end.Data.Result.Module, trusted)
		if err != nil {
			return 1, err
		}
		fmt.Printf("verified: %s, %d bytes\n", out, len(module))
		return 0, os.WriteFile(out, module, 0o644)
	case "rejected":
		return 2, errors.New("rejected:\n  " + strings.Join(end.Data.Reasons, "\n  "))
	}
	return 1, errors.New(end.Data.State + ":\n  " + strings.Join(end.Data.Reasons, "\n  "))
}

func (b *bucket) payload(data []byte) (payload, error) {
	digest := digestOf(data)
	if len(data) <= inline {
		return payload{Digest: digest, Inline: base64.StdEncoding.EncodeToString(data)}, nil
	}
	key := fmt.Sprintf("tenants/%s/blobs/%s", tenant, digest)
	return payload{Digest: digest, Reference: key}, b.put(key, data)
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func random() string {
	bytes := make([]byte, 16)
	if _, err := rand.Read(bytes); err != nil {
		panic(err)
	}
	return hex.EncodeToString(bytes)
}

func variable(name, otherwise string) string {
	if value, found := os.LookupEnv(name); found {
		return value
	}
	return otherwise
}

func main() {
	if len(os.Args) < 5 {
		fmt.Fprintln(os.Stderr, "usage: publish MODEL BOARD OUT.zip KEY.pub…")
		os.Exit(1)
	}
	if os.Getenv("TINYMLAAS_AMQP_URL") == "" || os.Getenv("TINYMLAAS_S3_BUCKET") == "" {
		fmt.Fprintln(os.Stderr, "no farm: . farm/env sets TINYMLAAS_AMQP_URL and TINYMLAAS_S3_BUCKET")
		os.Exit(1)
	}
	status, err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(status)
}
