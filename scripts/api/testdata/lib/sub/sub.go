package other

import "example.com/lib"

func Level() lib.Level { return lib.High }
