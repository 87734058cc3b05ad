package lib

const Word = 32 << (^uint(0) >> 63)
