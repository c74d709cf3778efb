// The peer of benchmarks/checker.py: checks a history in our JSON Lines with Porcupine, one model a key.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/anishathalye/porcupine"
)

type line struct {
	Process   int     `json:"process"`
	Kind      string  `json:"kind"`
	ModelName string  `json:"model_name"`
	Called    int64   `json:"called"`
	Returned  int64   `json:"returned"`
	Outcome   string  `json:"outcome"`
	Version   *int    `json:"version"`
	Base      *int    `json:"base"`
	Value     *string `json:"value"`
	Actual    *int    `json:"actual"`
}

type state struct {
	version int
	present bool
	value   string
}

func value(one line) string {
	if one.Value == nil {
		return ""
	}
	return *one.Value
}

func step(before, input, _ interface{}) (bool, interface{}) {
	now, one := before.(state), input.(line)
	current := 0
	if now.present {
		current = now.version
	}
	if one.Outcome == "failed" {
		return one.Actual != nil && *one.Actual == current, now
	}
	if one.Kind == "get" || (one.Version != nil && *one.Version == 0) {
		if one.Version != nil && *one.Version != current {
			return false, now
		}
		return one.Kind != "get" || value(one) == now.value, now
	}
	if one.Base != nil && *one.Base != current {
		return false, now
	}
	if one.Version != nil && *one.Version != now.version+1 {
		return false, now
	}
	if one.Kind == "delete" {
		return now.present, state{now.version + 1, false, ""}
	}
	return true, state{now.version + 1, true, value(one)}
}

var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byName := map[string][]porcupine.Operation{}
		for _, operation := range history {
			name := operation.Input.(line).ModelName
			byName[name] = append(byName[name], operation)
		}
		parts := [][]porcupine.Operation{}
		for _, part := range byName {
			parts = append(parts, part)
		}
		return parts
	},
	Init:  func() interface{} { return state{} },
	Step:  step,
	Equal: func(one, other interface{}) bool { return one.(state) == other.(state) },
	Hash: func(one interface{}) uint64 {
		found := one.(state)
		hash := uint64(found.version) * 0x9e3779b97f4a7c15
		if found.present {
			hash ^= 0x5bd1e995
		}
		return hash
	},
}

func main() {
	runtime.GOMAXPROCS(1)
	file, err := os.Open(os.Args[1])
	if err != nil {
		panic(err)
	}
	history := []porcupine.Operation{}
	scanner := bufio.NewScanner(file)
	scanner.Buffer(make([]byte, 1<<20), 1<<20)
	for scanner.Scan() {
		one := line{Outcome: "ok"}
		if err := json.Unmarshal(scanner.Bytes(), &one); err != nil {
			panic(err)
		}
		if one.Kind != "" {
			history = append(history, porcupine.Operation{
				ClientId: one.Process, Input: one, Call: one.Called, Return: one.Returned,
			})
		}
	}
	started := time.Now()
	verdict := porcupine.CheckOperationsTimeout(model, history, 120*time.Second)
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	fmt.Printf("%s %.6f %d\n", verdict, time.Since(started).Seconds(), memory.Sys)
}
