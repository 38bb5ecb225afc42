// Package calls makes telemetry events of simulated LLM calls: usual ones, and anomalous ones of four kinds.
package calls

import (
	"crypto/rand"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"time"
)

const (
	usdPerPromptToken     = 2.5e-6
	usdPerCompletionToken = 10e-6
)

// Event is one LLM call in the flat shape of the telemetry topic.
type Event struct {
	EventID          string            `json:"event_id"`
	Timestamp        time.Time         `json:"timestamp"`
	ServiceName      string            `json:"service_name"`
	ModelName        string            `json:"model_name"`
	LatencyMS        float64           `json:"latency_ms"`
	PromptTokens     int               `json:"prompt_tokens"`
	CompletionTokens int               `json:"completion_tokens"`
	CostUSD          float64           `json:"cost_usd"`
	UserID           string            `json:"user_id"`
	SessionID        string            `json:"session_id"`
	FinishReason     string            `json:"finish_reason"`
	Metadata         map[string]string `json:"metadata"`
}

// Key is the Kafka key that keeps a series in one partition.
func (e *Event) Key() []byte {
	return []byte(e.ServiceName + "|" + e.ModelName)
}

// Kind is a way in which a call is anomalous: its name, and what it makes of a usual call.
type Kind struct {
	Name  string
	Spoil func(*Event, *Source)
}

// Kinds are the four kinds, in the order in which they are sent.
var Kinds = []Kind{
	{"high_latency", highLatency},
	{"high_tokens", highTokens},
	{"high_cost", highCost},
	{"suspicious_pattern", suspiciousPattern},
}

// Source makes the calls of one service and model. It is not safe for concurrent use.
type Source struct {
	Service, Model string
	random         *mathrand.Rand
	turn           int
}

// NewSource makes a source; the same seed makes the same calls, apart from their times and ids.
func NewSource(service, model string, seed uint64) *Source {
	return &Source{Service: service, Model: model, random: mathrand.New(mathrand.NewPCG(seed, 0))}
}

// Normal is a usual call: some 400 prompt tokens, 120 completion tokens, 900 ms.
func (s *Source) Normal() *Event {
	prompt, completion := s.tokens(6.0), s.tokens(4.8)
	regions := []string{"us-east-1", "eu-west-1"}
	return &Event{
		EventID:          newID(),
		Timestamp:        time.Now().UTC(),
		ServiceName:      s.Service,
		ModelName:        s.Model,
		LatencyMS:        math.Max(1, 300+20*s.random.NormFloat64()) + 5*float64(completion),
		PromptTokens:     prompt,
		CompletionTokens: completion,
		CostUSD:          cost(prompt, completion),
		UserID:           fmt.Sprintf("user-%03d", s.random.IntN(100)),
		SessionID:        fmt.Sprintf("session-%04d", s.random.IntN(1000)),
		FinishReason:     "stop",
		Metadata:         map[string]string{"region": regions[s.random.IntN(len(regions))], "kind": "normal"},
	}
}

// Anomalous is a call of the kind whose turn it is.
func (s *Source) Anomalous() *Event {
	kind := Kinds[s.turn%len(Kinds)]
	s.turn++
	event := s.Normal()
	kind.Spoil(event, s)
	event.Metadata["kind"] = kind.Name
	return event
}

// highLatency: the provider takes 20 to 40 times as long.
func highLatency(e *Event, s *Source) {
	e.LatencyMS *= s.between(20, 40)
}

// highTokens: the model does not stop: 25 to 30 times the completion, and its time and cost.
func highTokens(e *Event, s *Source) {
	e.CompletionTokens = int(float64(e.CompletionTokens) * s.between(25, 30))
	e.LatencyMS = 300 + 5*float64(e.CompletionTokens)
	e.CostUSD = cost(e.PromptTokens, e.CompletionTokens)
	e.FinishReason = "length"
}

// highCost: the same tokens at 50 to 100 times the price: a wrong tier, a doubled bill.
func highCost(e *Event, s *Source) {
	e.CostUSD *= s.between(50, 100)
}

// suspiciousPattern: one user stuffs the prompt and gets next to nothing back.
func suspiciousPattern(e *Event, s *Source) {
	e.PromptTokens = int(float64(e.PromptTokens) * s.between(40, 60))
	e.CompletionTokens = 1
	e.CostUSD = cost(e.PromptTokens, 1)
	e.UserID, e.SessionID = "suspicious", "suspicious"
	e.FinishReason = "content_filter"
}

func (s *Source) tokens(logMean float64) int {
	return int(math.Exp(logMean + 0.2*s.random.NormFloat64()))
}

func (s *Source) between(low, high float64) float64 {
	return low + (high-low)*s.random.Float64()
}

func cost(promptTokens, completionTokens int) float64 {
	return float64(promptTokens)*usdPerPromptToken + float64(completionTokens)*usdPerCompletionToken
}

// newID is a random UUID (version 4).
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
