"""The autoscaler: it reads what a tier's members do and asks the directory for more or fewer."""
