"""The vocoder recipe: from recordings to a vocoder. It is part of the synthesis recipe, and runs alone too."""
