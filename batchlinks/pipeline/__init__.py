"""One run or check, start to finish: `run` tells the story, the other files are its chapters."""
