from datetime import datetime as datetime
