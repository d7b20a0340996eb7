// Redpanda Connect's engine with its HTTP input and one output: what its kafka_franz does, on the same client. The module with
// kafka_franz itself is not to be had under a free licence, so these lines stand in for it: a batch is produced and waited for.
package main

import (
	"context"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
)

type franz struct {
	brokers []string
	topic   string
	key     *service.InterpolatedString
	client  *kgo.Client
}

func (f *franz) Connect(context.Context) (err error) {
	f.client, err = kgo.NewClient(
		kgo.SeedBrokers(f.brokers...),
		kgo.DefaultProduceTopic(f.topic),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.ZstdCompression().WithLevel(1)),
		kgo.ProducerLinger(5_000_000), // nanoseconds: 5 ms, as ours
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
	)
	return err
}

func (f *franz) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	records := make([]*kgo.Record, 0, len(batch))
	for place, message := range batch {
		value, err := message.AsBytes()
		if err != nil {
			return err
		}
		key, err := batch.TryInterpolatedBytes(place, f.key)
		if err != nil {
			return err
		}
		records = append(records, &kgo.Record{Key: key, Value: value})
	}
	return f.client.ProduceSync(ctx, records...).FirstErr()
}

func (f *franz) Close(context.Context) error {
	f.client.Close()
	return nil
}

func main() {
	spec := service.NewConfigSpec().Fields(
		service.NewStringField("brokers"),
		service.NewStringField("topic"),
		service.NewInterpolatedStringField("key"),
		service.NewOutputMaxInFlightField(),
	)
	err := service.RegisterBatchOutput("franz", spec,
		func(conf *service.ParsedConfig, _ *service.Resources) (service.BatchOutput, service.BatchPolicy, int, error) {
			out, policy := &franz{}, service.BatchPolicy{}
			brokers, err := conf.FieldString("brokers")
			if err != nil {
				return nil, policy, 0, err
			}
			out.brokers = strings.Split(brokers, ",")
			if out.topic, err = conf.FieldString("topic"); err != nil {
				return nil, policy, 0, err
			}
			if out.key, err = conf.FieldInterpolatedString("key"); err != nil {
				return nil, policy, 0, err
			}
			inFlight, err := conf.FieldMaxInFlight()
			return out, policy, inFlight, err
		})
	if err != nil {
		panic(err)
	}
	service.RunCLI(context.Background())
}
