// Sends records with fluent-logger-golang as its options say, and prints how many were accepted.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/fluent/fluent-logger-golang/fluent"
)

func main() {
	var wanted struct {
		Count   int
		Options fluent.Config
	}
	if err := json.Unmarshal([]byte(os.Args[1]), &wanted); err != nil {
		panic(err)
	}
	wanted.Options.MaxRetry = 1
	wanted.Options.Timeout = 10 * time.Second
	accepted, failures := 0, []string{}
	logger, err := fluent.New(wanted.Options)
	if err != nil {
		failures = append(failures, err.Error())
		wanted.Count = 0
	}
	for number := 0; number < wanted.Count; number++ {
		record := map[string]interface{}{"n": number, "text": "größer", "list": []interface{}{1, nil, true}, "deep": map[string]interface{}{"x": 1.5}}
		if err := logger.PostWithTime("app", time.Unix(1770301845, 123456789), record); err != nil {
			failures = append(failures, err.Error())
			break
		}
		accepted++
	}
	if logger != nil {
		logger.Close()
	}
	said, _ := json.Marshal(map[string]interface{}{"accepted": accepted, "errors": failures})
	fmt.Println(string(said))
}
