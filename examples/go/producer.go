// Command producer sends telemetry of simulated LLM calls to Kafka: usual ones, then anomalous ones of four kinds.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/llm-devops/llm-sentinel/examples/go/calls"
)

const (
	continuousRate = 10.0
	deliveryTime   = 20 * time.Second
	finishTime     = 30 * time.Second
	reportInterval = 5 * time.Second
	maxBuffered    = 10_000 // records; sending waits while as many are on their way
)

type options struct {
	brokers         string
	topic           string
	normalEvents    int
	anomalousEvents int
	continuous      bool
	rate            float64
	service         string
	model           string
	seed            uint64
}

func parse(arguments []string, output io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("producer", flag.ContinueOnError)
	flags.SetOutput(output)
	flags.StringVar(&o.brokers, "brokers", "localhost:9092", "host:port, with commas between several")
	flags.StringVar(&o.topic, "topic", "llm.telemetry", "the telemetry topic")
	flags.IntVar(&o.normalEvents, "normal-events", 20, "usual calls in a round")
	flags.IntVar(&o.anomalousEvents, "anomalous-events", 5, "anomalous calls in a round, of each kind in turn")
	flags.BoolVar(&o.continuous, "continuous", false, "round after round, until Ctrl-C")
	flags.Float64Var(&o.rate, "rate", -1, "events a second, 0: all at once (default 0, continuous 10)")
	flags.StringVar(&o.service, "service", "example-go", "service_name of the calls")
	flags.StringVar(&o.model, "model", "gpt-4o", "model_name of the calls")
	flags.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "the same calls every time")
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	if !isSet(flags, "rate") {
		o.rate = 0
		if o.continuous {
			o.rate = continuousRate
		}
	}
	return o, o.fault()
}

func isSet(flags *flag.FlagSet, name string) bool {
	found := false
	flags.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

func (o options) fault() error {
	switch {
	case o.normalEvents < 0 || o.anomalousEvents < 0:
		return errors.New("-normal-events and -anomalous-events must not be negative")
	case o.normalEvents+o.anomalousEvents == 0:
		return errors.New("nothing to send: -normal-events and -anomalous-events are both 0")
	case o.rate < 0:
		return errors.New("-rate must not be negative")
	}
	return nil
}

// connect makes a client that loses, doubles and reorders nothing (idempotent, acknowledged by all replicas: its
// defaults) and places keys as Java's clients and librdkafka's murmur2_random do.
func connect(o options) (*kgo.Client, error) {
	return kgo.NewClient(
		kgo.SeedBrokers(strings.Split(o.brokers, ",")...),
		kgo.DefaultProduceTopic(o.topic),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.ProducerBatchCompression(kgo.SnappyCompression()),
		kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(maxBuffered),
		kgo.RecordDeliveryTimeout(deliveryTime),
		kgo.AllowAutoTopicCreation(),
	)
}

// sender sends events and counts the broker's reports.
type sender struct {
	client *kgo.Client
	sent   int

	mutex     sync.Mutex // of what follows: reports come from the client's goroutines
	delivered map[int32]int
	failed    map[string]int
}

// send queues an event; it waits while the queue is full.
func (s *sender) send(ctx context.Context, event *calls.Event) error {
	value, err := json.Marshal(event)
	if err != nil {
		return err
	}
	s.sent++
	s.client.Produce(ctx, &kgo.Record{Key: event.Key(), Value: value}, s.report)
	return nil
}

// report: a record was acknowledged by every replica that must have it, or given up.
func (s *sender) report(record *kgo.Record, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if err != nil {
		s.failed[err.Error()]++
		return
	}
	s.delivered[record.Partition]++
}

// run sends one round, or round after round until ctx ends, at the wanted rate.
func (s *sender) run(ctx context.Context, o options) error {
	source := calls.NewSource(o.service, o.model, o.seed)
	began, reported := time.Now(), time.Now()
	for ctx.Err() == nil {
		for i := range o.normalEvents + o.anomalousEvents {
			if !pace(ctx, began, s.sent, o.rate) {
				return nil
			}
			next := source.Normal
			if i >= o.normalEvents {
				next = source.Anomalous
			}
			// Not ctx: what was begun is delivered, also after a signal.
			if err := s.send(context.Background(), next()); err != nil {
				return err
			}
			if time.Since(reported) > reportInterval {
				reported = time.Now()
				fmt.Println(s)
			}
		}
		if !o.continuous {
			return nil
		}
	}
	return nil
}

// pace waits until the next event is due; false if ctx ended.
func pace(ctx context.Context, began time.Time, sent int, rate float64) bool {
	if rate > 0 {
		due := began.Add(time.Duration(float64(sent) / rate * float64(time.Second)))
		if wait := time.Until(due); wait > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
	}
	return ctx.Err() == nil
}

func (s *sender) String() string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	total, places := 0, []string{}
	for _, partition := range sortedKeys(s.delivered) {
		total += s.delivered[partition]
		places = append(places, fmt.Sprintf("%d in partition %d", s.delivered[partition], partition))
	}
	if len(places) == 0 {
		places = []string{"none"}
	}
	text := fmt.Sprintf("%d sent, %d delivered (%s)", s.sent, total, strings.Join(places, ", "))
	for _, reason := range sortedKeys(s.failed) {
		text += fmt.Sprintf("; %d failed: %s", s.failed[reason], reason)
	}
	return text
}

func sortedKeys[K int32 | string](counts map[K]int) []K {
	keys := make([]K, 0, len(counts))
	for key := range counts {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// produce sends, waits for the reports and tells; an error if not everything was delivered.
func produce(ctx context.Context, o options) error {
	client, err := connect(o)
	if err != nil {
		return err
	}
	defer client.Close()
	s := &sender{client: client, delivered: map[int32]int{}, failed: map[string]int{}}
	if err := s.run(ctx, o); err != nil {
		return err
	}
	finish, cancel := context.WithTimeout(context.Background(), finishTime)
	defer cancel()
	err = client.Flush(finish)
	fmt.Println(s)
	if err == nil && len(s.failed) > 0 {
		err = errors.New("not everything was delivered")
	}
	return err
}

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		err = produce(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
