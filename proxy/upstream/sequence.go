package upstream

const (
	// WeightMax is the largest weight of a server.
	WeightMax = 1000
	// turnsMax limits the length of a sequence: weights whose sum is larger are scaled down to that sum. Each server still gets at least
	// one turn, so a server whose weight is small compared with the sum may get more turns than its share. The sequence may be longer
	// than turnsMax by one turn for each such server.
	turnsMax = 1 << 13
)

// Sequence returns the order in which servers take turns: a list of indices into weights, in which each index occurs as often as its weight says,
// spread as evenly as possible. A server whose weight is not positive gets no turn. There may be at most 1,024 servers.
//
// At each step, every server's credit grows by its weight. The server with the most credit takes the turn and pays the sum of all weights for it.
func Sequence(weights []int) []uint16 {
	weights, sum := reduced(weights)
	order, credit := make([]uint16, 0, sum), make([]int, len(weights))
	for range sum {
		most := -1
		for i, w := range weights {
			if w <= 0 {
				continue
			}
			credit[i] += w
			if most < 0 || credit[i] > credit[most] {
				most = i
			}
		}
		credit[most] -= sum
		order = append(order, uint16(most))
	}
	return order
}

// reduced returns the weights in their lowest terms or, if their sum is still too large then, scaled down. It also returns the new sum.
func reduced(weights []int) (low []int, sum int) {
	divisor, total := 0, 0
	for _, w := range weights {
		divisor = gcd(divisor, max(w, 0))
		total += max(w, 0)
	}
	low = make([]int, len(weights))
	for i, w := range weights {
		switch {
		case w <= 0:
		case total/divisor <= turnsMax:
			low[i] = w / divisor
		default:
			low[i] = max((w*turnsMax)/total, 1)
		}
		sum += low[i]
	}
	return low, sum
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
